"""What is right and still a mistake: findings beyond what the reader refuses."""
