"""The contract judged: what was promised to a customer, measured for a month, kept or missed (contract.md).

Values and rules, no output: ``gateway.reports`` renders what this room finds. In the order of reading:

    month, interval      a customer's month and days in its zone; half-open intervals of UTC seconds
    records, book        what people and the gateway put on record (exclusions, faults, deadlines …): append-only
    waiting, sample      a copy's delay, and what of it was caused by systems that are not ours
    sketch, figures      counts, sums and quantiles that can be added up, and the error of what is estimated
    summary, rollup      a customer's day, written from the ledger beside the mail, and written again when it must be
    minutes              reachable or not, minute by minute
    deadline             clocks in calendar or working time
    evaluation           every clause of a month: limit, value, samples, exclusions, kept, missed or no data, credit

What is not known is said to be so: no figure is made of nothing, and no gap is filled with zeros.
"""
