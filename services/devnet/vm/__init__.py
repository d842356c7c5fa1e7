"""TRON's virtual machine: contract bytecode run by java-tron's rules, energy by energy.

Read `machine` first: frames, the loop, calls from contract to contract. Below it `operations` (what each opcode takes,
costs and does), `precompiled` (contracts without bytecode) and `world` (balances, code and storage in a layer of the
chain's state). `failures` says how a run can end but well.
"""
