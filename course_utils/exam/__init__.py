"""Exam practice: questions, marks, a mock exam, and what to practise next."""
