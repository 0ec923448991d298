"""The exit codes of the commands, and their text for the help."""

SUCCESS, ERROR, USAGE, ANOMALIES, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """\
Exit codes:
  0    {success}
  1    an error, in one line on stderr; --debug also shows its traceback
  2    a wrong command line
{anomalies}  130  interrupted{interrupted}
"""
"""The end of each command's help, a template for `format`."""
