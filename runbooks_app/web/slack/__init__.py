"""What people ask in Slack.

asked       one shape for a command, a mention, a shortcut, a button, a form and an event, and for the answer
http        the way in by signed requests
answering   who asks, the tables of what can be asked, and how each is answered
commands    what each command does
"""
