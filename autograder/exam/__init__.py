"""The exam practice's workshop: questions as data, generators, the bank's build, exports."""
