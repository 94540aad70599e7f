"""Doorward, an authentication service. Start reading at factory.py or at any file of api/."""
