/** The live view: one screen of text from numbers. */
export interface DemoNumbers {
  readonly seconds: number
  /** State of each shard, as the management service names it. */
  readonly shards: readonly string[]
  /** Events that the consumer has received, by name, since the last view. */
  readonly rates: ReadonlyMap<string, number>
  readonly received: number
  readonly queued: number
  readonly gaps: number
  /** Guilds whose member list was fetched, and those that wait. */
  readonly lists: { readonly fetched: number; readonly waiting: number }
  readonly rows: ReadonlyMap<string, number>
  readonly urls: readonly string[]
  /** Commands that start a bot. */
  readonly bots: readonly string[]
}

const TYPES_SHOWN = 8

export function renderView(numbers: DemoNumbers): string {
  const { shards, rates, rows } = numbers
  const perSecond = [...rates.values()].reduce((sum, rate) => sum + rate, 0)
  const ready = shards.filter((state) => state === 'CONNECTED').length
  const top = [...rates].sort(([, a], [, b]) => b - a).slice(0, TYPES_SHOWN)
  return [
    `gateway demo · ${Math.round(numbers.seconds)} s · Ctrl-C stops`,
    '',
    `shards    ${ready} of ${shards.length} ready   ${shards.map((state) => MARKS[state] ?? '?').join('')}`,
    `events    ${Math.round(perSecond)}/s to the consumer, ${numbers.received} in all`,
    ...top.map(([name, rate]) => `          ${rate.toFixed(0).padStart(5)}/s  ${name}`),
    `queue     ${numbers.queued} waiting, ${numbers.gaps} gaps`,
    `members   ${bar(numbers.lists)}`,
    `cache     ${[...rows].map(([table, count]) => `${count} ${table}`).join(', ')}`,
    '',
    ...headed('try       ', numbers.urls),
    ...headed('bots      ', numbers.bots),
  ].join('\n')
}

function headed(head: string, lines: readonly string[]): string[] {
  return lines.map((line, index) => `${index === 0 ? head : ' '.repeat(head.length)}${line}`)
}

const BAR_WIDTH = 24

function bar({ fetched, waiting }: DemoNumbers['lists']): string {
  const all = fetched + waiting
  if (all === 0) return 'every list came whole'
  const filled = Math.floor((fetched / all) * BAR_WIDTH)
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${fetched} of ${all} lists fetched`
}

const MARKS: Readonly<Record<string, string>> = {
  CONNECTED: '●',
  GUILD_STREAM: '◐',
  CONNECTING: '○',
  DISCONNECTED: '·',
}
