"""Kernels: forked off a clean process, driven cell by cell, told truthfully, gone at the end with all they started.

    engine      what the worker calls: `Engine.run(segment)` yields events
    course      a segment under way, as a job sees it  rehearsal  what is done before the first fork
    segment     what one kernel executes            events      what became of it
    conduct     the course of one segment           cells       nbclient, one cell at a time
    outputs     one cell's outputs: cap, order      redaction   no known secret leaves in them
    launcher    the worker's half of the zygote     channel     the worker's half of a kernel
    warden      ends every process there is         zygote      forks kernels
    child       the kernel's half of the channel    sandbox     between fork and user code
    values      typed JSON to real objects          uids        a user for each kernel
    priority    a kernel's share of the processors  sharing     multiprocessing within a kernel
    warm        the kit, imported before the fork   huge        the zygote's memory, cheap to fork
    limits      what a kernel may use up            watch       ends who is over it; in the warden
    ends        why a kernel ended                  folders     what strangers wrote: weighed, removed
    displays    updated by later cells              spool       all that a cell prints, in a file
    sieve       in front of redaction               printing    sys.stdout and sys.stderr of a kernel

Warden, watch, zygote, child, printing, sandbox, `values`, `warm` and `huge` run outside the worker, in processes that
never hold one of its secrets.
"""
