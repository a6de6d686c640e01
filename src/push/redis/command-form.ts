import type { Redis } from 'ioredis'

/** What a Redis key with commands is: a list or a stream. Calls reject as the client does. */
export interface CommandForm {
  /**
   * The next commands, none after TAKE_SECONDS.
   *
   * @param underWay how many are.
   */
  next(underWay: number): Promise<readonly Command[]>
  /** Something failed: commands may be ours that we have not seen. */
  onFailure(): void
  /** The command is answered for good. */
  done(id: string, text: string | null): Promise<void>
  /**
   * Tells the others that this worker is there, and takes over what gone ones had.
   *
   * @returns how many those were, and those of them that are to be carried out by this worker now.
   */
  renew(
    underWay: readonly string[],
  ): Promise<{ readonly count: number; readonly commands: readonly Command[] }>
  /** Others may have at once what is not done. */
  leave(underWay: readonly string[]): Promise<void>
}

export interface Command {
  /** A name of it in this process. */
  readonly id: string
  /** Null: it was taken away meanwhile, and is only to be marked as done. */
  readonly text: string | null
}

export interface CommandFormOptions {
  /** May wait in a blocking command. */
  readonly take: Redis
  readonly answer: Redis
  readonly key: string
  /** Unique for a process. */
  readonly worker: string
  /** A worker that has not renewed its time for so long is gone. */
  readonly staleMs: number
  readonly underWayMax: number
}

/** One blocking command. */
export const TAKE_SECONDS = 2
