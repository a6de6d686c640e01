/** Rows of a bench: a table for people, or JSON lines. */
import { cpus, loadavg } from 'node:os'
import type { BenchFlags } from './flags.ts'

export interface Row {
  readonly row: string
  readonly unit: string
  /** Median, in `unit` for each operation. */
  readonly ours: number | null
  readonly rival: number | null
  readonly rival_name: string
  /** The rival's time over ours, median over the rounds: above 1 ours is faster. */
  readonly ratio: number | null
  /** Smallest and largest ratio of a round, without a rival value; for rows in bytes, the number of collections. */
  readonly spread: readonly [number, number]
  readonly aim: string
  readonly met: boolean
  readonly correct: boolean
}

export class Report {
  readonly #bench: string
  readonly #json: boolean
  #rows = 0
  #met = 0
  #hasFailed = false

  constructor(bench: string, flags: BenchFlags) {
    this.#bench = bench
    this.#json = flags.json
    const load = loadavg()[0]!.toFixed(2)
    const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, load ${load}`
    const head = `${bench}: Node ${process.versions.node}, ${machine}, ${new Date().toISOString()}`
    const how = `${flags.rounds} rounds, ${flags.seconds} s for each contender; ratio = rival / ours, medians [min..max]`
    this.#say(`${head}\n${how}\n`)
    if (!this.#json) this.#say(line('row', 'ours', 'rival', '', 'ratio', 'aim', ''))
  }

  add(row: Row): void {
    this.#rows++
    if (row.met && row.correct) this.#met++
    if (!row.correct) this.#hasFailed = true
    if (this.#json) {
      console.log(JSON.stringify({ bench: this.#bench, ...rounded(row) }))
      return
    }
    const [low, high] = row.spread
    const ratio =
      row.ratio === null
        ? row.unit === 'bytes'
          ? `${low} collections`
          : `[${short(low)}..${short(high)}]`
        : `${short(row.ratio)} [${short(low)}..${short(high)}]`
    const verdict = !row.correct ? 'WRONG' : row.aim === 'none' ? '' : row.met ? 'met' : 'MISSED'
    const values = [row.ours, row.rival].map((value) =>
      value === null ? '-' : `${short(value)} ${row.unit}`,
    )
    this.#say(line(row.row, values[0]!, values[1]!, row.rival_name, ratio, row.aim, verdict))
  }

  /** A row that could not be measured. */
  failed(row: string, unit: string, rivalName: string, aim: string): void {
    this.add({
      row,
      unit,
      ours: null,
      rival: null,
      rival_name: rivalName,
      ratio: null,
      spread: [0, 0],
      aim,
      met: false,
      correct: false,
    })
  }

  problem(what: string, error: unknown): void {
    this.#hasFailed = true
    console.error(`${what}: ${error instanceof Error ? error.message : String(error)}`)
  }

  finish(): number {
    const missed = this.#rows - this.#met
    if (this.#json) {
      console.log(JSON.stringify({ bench: this.#bench, rows: this.#rows, met: this.#met, missed }))
    } else {
      this.#say(`\n${this.#rows} rows: ${this.#met} met, ${missed} missed`)
    }
    return this.#hasFailed ? 1 : 0
  }

  /** With `-json`, stdout holds rows only. */
  #say(text: string): void {
    if (this.#json) console.error(text)
    else console.log(text)
  }
}

function rounded(row: Row): Row {
  const { ours, rival, ratio, spread } = row
  return {
    ...row,
    ours: ours === null ? null : round(ours),
    rival: rival === null ? null : round(rival),
    ratio: ratio === null ? null : round(ratio),
    spread: [round(spread[0]), round(spread[1])],
  }
}

function round(value: number): number {
  return Number(value.toPrecision(4))
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

function line(
  row: string,
  ours: string,
  rival: string,
  rivalName: string,
  ratio: string,
  aim: string,
  verdict: string,
): string {
  return `${row.padEnd(52)}${ours.padStart(13)}${rival.padStart(13)} ${rivalName.padEnd(38)}${ratio.padEnd(24)}${aim.padEnd(24)}${verdict}`.trimEnd()
}
