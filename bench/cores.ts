/** Which core a process may use, and what processes cost: Linux' /proc and taskset, where they are. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Linux' USER_HZ. */
const TICKS_PER_SECOND = 100

/** The contender's, and that of everybody else. */
export const CONTENDER_CORE = 0
export const OTHER_CORE = 1

/** This process with its threads, and what it starts from now on. */
export function bindTo(core: number): void {
  try {
    execFileSync('taskset', ['-acp', String(core), String(process.pid)], { stdio: 'ignore' })
  } catch {
    // Without taskset, or with one core, the scheduler decides; the figures then vary more.
  }
}

/** CPU seconds of a process and all that it started, those that have ended among them. */
export function treeSeconds(rootPid: number): number {
  const children = new Map<number, number[]>()
  const ticks = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    try {
      // Behind the name, which may hold spaces: fields 3 and up of proc(5).
      const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      const parent = Number(fields[1])
      children.set(parent, [...(children.get(parent) ?? []), pid])
      ticks.set(
        pid,
        fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0),
      )
    } catch {
      // It has ended meanwhile.
    }
  }
  const sum = (pid: number): number =>
    (children.get(pid) ?? []).reduce((total, child) => total + sum(child), ticks.get(pid) ?? 0)
  return sum(rootPid) / TICKS_PER_SECOND
}

export function ownSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
