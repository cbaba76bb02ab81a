"""The installer behind the Makefile, and checks that need more than a test run."""
