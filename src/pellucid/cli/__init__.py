"""The command line: one function per verb, in networks, data, runs and models; the other files are plumbing."""
