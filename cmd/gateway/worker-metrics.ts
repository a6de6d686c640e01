/** The pages of several workers as one, each series with its worker: what Prometheus would have made of them. */

export interface WorkerPage {
  readonly worker: string
  /** Null: it did not answer. */
  readonly page: string | null
}

const UP = 'gateway_worker_up'

/** HELP and TYPE stand once for a family, before the series of all workers. */
export function joinMetrics(pages: readonly WorkerPage[]): string {
  const families = new Map<string, { head: string[]; series: string[] }>()
  for (const { worker, page } of pages) {
    let current: { head: string[]; series: string[] } | undefined
    for (const line of (page ?? '').split('\n')) {
      const head = /^# (?:HELP|TYPE) (\S+)/.exec(line)
      if (head !== null) {
        current = families.get(head[1]!)
        if (current === undefined) {
          current = { head: [], series: [] }
          families.set(head[1]!, current)
        }
        if (!current.head.includes(line)) current.head.push(line)
      } else if (line !== '') {
        current?.series.push(withWorker(line, worker))
      }
    }
  }
  const up = pages.map(({ worker, page }) => `${UP}{worker="${worker}"} ${page === null ? 0 : 1}`)
  families.set(UP, {
    head: [
      `# HELP ${UP} 1 when the worker answered this scrape; of the parent of -workers.`,
      `# TYPE ${UP} gauge`,
    ],
    series: up,
  })
  return [...families.values()]
    .flatMap(({ head, series }) => [...head, ...series])
    .concat('')
    .join('\n')
}

/** `name{a="b"} 1` and `name 1` with the label `worker`. */
function withWorker(line: string, worker: string): string {
  const brace = line.indexOf('{')
  const space = line.indexOf(' ')
  if (brace !== -1 && brace < space) {
    return `${line.slice(0, brace + 1)}worker="${worker}",${line.slice(brace + 1)}`
  }
  return `${line.slice(0, space)}{worker="${worker}"}${line.slice(space)}`
}
