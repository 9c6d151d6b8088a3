"""Workers: they alone hold secrets, run kernels and speak to the chat.

Each job begins by claiming its work in the database, so a job that is delivered twice does nothing twice.
"""
