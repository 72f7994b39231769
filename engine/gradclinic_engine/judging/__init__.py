"""What rules say it with, and what becomes of it: findings, their words, and which cause stands for others."""
