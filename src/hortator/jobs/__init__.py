"""The job that a user writes, and its compilers to the native forms.

Pure apart from the small programs that run inside a job (wrapper, launch, collector).
"""
