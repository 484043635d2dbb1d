"""`python -m twistlock_defender` is `twistlock-defender`."""

import sys

from twistlock_defender.cli.main import main

sys.exit(main())
