"""Doorward, the sign-in service beside your API. Start reading at factory.py, or at any file of api/."""
