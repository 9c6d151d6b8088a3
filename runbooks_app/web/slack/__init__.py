"""What people ask in Slack.

asked       one shape for a command, a mention, a shortcut, a button, a form and an event, and for the answer
http        the way in by signed requests
socket      the way in through a connection that the service opens itself
answering   who asks, the tables of what can be asked, and how each is answered
commands    what each command does
"""
