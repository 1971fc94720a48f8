"""`python -m blindmatch_simulations` is `blindmatch`."""

from blindmatch_simulations.cli import main

if __name__ == "__main__":
    main()
