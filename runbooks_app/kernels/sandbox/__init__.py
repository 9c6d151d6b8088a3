"""What a kernel may do: the one lockdown between its fork and the first line of anybody's code, and its proof.

    spec         what one kernel may do, as the worker asks for it
    lockdown     the steps, in the order in which they have to be taken
    landlock     which files, ports and processes       privileges   uid and capabilities
    seccomp      which system calls: a list of rules    assembler    the rules as a program for the kernel of the system
    syscalls     their numbers                          libc         calls that Python does not have
    probes       what must fail and what must work      selftest     asks them all, in a kernel like any other

Mechanisms overlap, so that one of them failing is seen before it matters: what counts is that the probes pass.
There is no best effort. Where a step fails there is no kernel, and where a probe fails the worker takes no jobs.
"""
