"""The exit codes of the commands, and how a command's help explains them."""

SUCCESS, ERROR, USAGE, ANOMALIES, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """\
Exit codes:
  0    {success}
  1    an error, told in one line on stderr; --debug shows its traceback too
  2    a wrong command line
{anomalies}  130  interrupted{interrupted}
"""
"""The end of each command's help; to be filled in by `format`."""
