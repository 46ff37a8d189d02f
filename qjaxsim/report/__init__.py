"""Tables, figures and one self-contained HTML page from a study's rows and arrays."""
