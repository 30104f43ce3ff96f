"""darkroomd: drop photos into folders, find better copies elsewhere. Start reading at job.py and pipeline.py."""
