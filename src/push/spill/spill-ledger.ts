import type { SpillContents } from './spill-contents.ts'
import type { SpillRange } from './spill-rows.ts'

/** What one spill holds, for the row that names it in the database. */
export interface SpillHolding {
  readonly spillId: string
  readonly destination: string
  /** Spills whose events lie in this one now. */
  readonly takenOver: readonly string[]
  readonly ranges: readonly SpillRange[]
  readonly version: number
}

interface Entry {
  readonly contents: SpillContents
  savedVersion: number
  /** The database may have a row of it. */
  isNamed: boolean
  isOpen: boolean
}

/** The spills of this process, and what of them the database does not say yet. */
export class SpillLedger {
  readonly #entries = new Map<string, Entry>()

  /** @param isNew no process has had the file before: the database cannot know it. */
  open(contents: SpillContents, isNew: boolean): void {
    const savedVersion = isNew && contents.takenOver.length === 0 ? contents.version : -1
    const isNamed = savedVersion === -1
    this.#entries.set(contents.spillId, { contents, savedVersion, isNamed, isOpen: true })
  }

  close(spillId: string): void {
    const entry = this.#entries.get(spillId)!
    entry.isOpen = false
    if (entry.contents.version === entry.savedVersion) this.#entries.delete(spillId)
  }

  /** Whether a row of the database may name the spill: then its file must stay, for the id in it. */
  isNamed(spillId: string): boolean {
    return this.#entries.get(spillId)!.isNamed
  }

  /** Ids of the spills that this process holds. */
  held(): string[] {
    return [...this.#entries.values()]
      .filter(({ isOpen }) => isOpen)
      .map(({ contents }) => contents.spillId)
  }

  /** What changed since it was last saved. */
  unsaved(): SpillHolding[] {
    const holdings: SpillHolding[] = []
    for (const entry of this.#entries.values()) {
      const { contents, savedVersion } = entry
      const { spillId, destination, takenOver, version } = contents
      if (version === savedVersion) continue
      const ranges = contents.ranges()
      if (ranges.length > 0) entry.isNamed = true
      holdings.push({ spillId, destination, takenOver, ranges, version })
    }
    return holdings
  }

  saved(holdings: readonly SpillHolding[]): void {
    for (const { spillId, version, ranges } of holdings) {
      const entry = this.#entries.get(spillId)
      if (entry === undefined) continue
      entry.savedVersion = version
      entry.isNamed = ranges.length > 0
      const isDone = !entry.isOpen && entry.contents.version === version
      if (isDone) this.#entries.delete(spillId)
    }
  }
}
