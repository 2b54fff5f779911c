"""Settings of the property-based tests: the same cases at each run, so that a change is judged and not chance.
`NNZERO_FUZZ=1 python -m pytest tests` looks for new ones."""
import os
from hypothesis import settings

settings.register_profile('nnzero', derandomize=not os.environ.get('NNZERO_FUZZ'), deadline=None, database=None, max_examples=60)
settings.load_profile('nnzero')
