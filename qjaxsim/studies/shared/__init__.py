"""What all studies share: settings and their options, cells run and resumed, trends and the words of verdicts."""
