"""The pages of the project: what they show is run, and where they lead is looked at."""
