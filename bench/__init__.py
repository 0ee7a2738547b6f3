"""What this project claims to be faster at, measured: needs the checkout, and is no part of the installed package.

parts      every part by its name, for `factory bench`     measure   pairs in turn, ratios, memory, a home of its own
training   N adapters by plain TRL and by one process      growth    cost by adapters, rank and length
rows       the tasks that are trained                      ours      the factory's engine in a process of its own
plain_trl  the script a user would write                   peers     LLaMA-Factory in a throw-away environment
preference DPO and GRPO by plain TRL and by ours           plain_preference   the script for these
gain       what rewards add to SFT, held out           ways      what usual ways to a domain do to the rest
gpu        many adapters on random models of real shapes   answers   from how many rows on an engine pays
serving    the gateway against its vLLM, swaps, a soak     apart     one vLLM per adapter, against one for all
load       streamed chat answers, many at a time           adapters  adapters with random weights
data       100,000 rows through every step                 grading   1,000 outputs by an endpoint of 50 ms
pages      thirty raters at once
"""
