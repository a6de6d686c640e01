/** The tables of bench/README.md, from the JSON rows of the benches: `npm run bench -- all -write`. */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { Row } from '../bench/report.ts'

/** Replaces what stands between `<!-- rows <bench> -->` and `<!-- end -->`; a bench without the mark is left out. */
export function writeTable(path: string, bench: string, lines: readonly string[]): boolean {
  const rows = lines
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Row)
    .filter(({ row, unit }) => row !== undefined && unit !== 'bytes')
  const text = readFileSync(path, 'utf8')
  const mark = `<!-- rows ${bench} -->\n`
  const start = text.indexOf(mark)
  const end = text.indexOf('<!-- end -->', start)
  if (start === -1 || end === -1 || rows.length === 0) return false
  const day = new Date().toISOString().slice(0, 10)
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}`
  const table = [
    `${day}, Node ${process.versions.node}, ${machine}.`,
    '',
    '| row | ours | rival | | ratio or value [min..max] | aim | |',
    '|---|--:|--:|---|--:|---|---|',
    ...rows.map(rowText),
    '',
  ].join('\n')
  writeFileSync(path, text.slice(0, start + mark.length) + table + text.slice(end))
  return true
}

function rowText({
  row,
  unit,
  ours,
  rival,
  rival_name,
  ratio,
  spread,
  aim,
  met,
  correct,
}: Row): string {
  const value = (number: number | null): string =>
    number === null ? '' : `${Number(number.toPrecision(3))} ${unit}`
  const [low, high] = spread.map((number) => Number(number.toPrecision(3)))
  const middle = ratio === null ? '' : `${Number(ratio.toPrecision(3))} `
  const verdict = !correct ? '**wrong**' : aim === 'none' ? '' : met ? 'met' : '**missed**'
  return `| ${row} | ${value(ours)} | ${value(rival)} | ${rival_name} | ${middle}[${low}..${high}] | ${aim === 'none' ? '' : aim} | ${verdict} |`
}
