"""The command line: one function per verb, in four files by what the verbs are about.

networks.py: `models`, `structure`, `bench`, `parity`. data.py: `split`, `show`. runs.py: `demo`, `train`, `recipes`,
`resume`, `runs`, `report`. models.py: `evaluate`, `predict`, `adopt`, `ensemble`, `verify`.

The rest is plumbing. main.py: the table of verbs, errors and exit codes. flags.py: flags made of arguments and records;
shared.py: those that several verbs have; whole.py: whole numbers. show.py: consoles, bars and a training as it happens;
loading.py: the line that stands while torch loads; quiet.py: what libraries say is not shown.
"""
