/** Name → meaning of every metric of the program. */
export const METRICS: Readonly<Record<string, string>> = {
  gateway_gaps_total: 'Ranges of events that are lost for good, by cause.',
  gateway_gap_events_total: 'Events in those ranges, as far as their number is known, by cause.',
}
