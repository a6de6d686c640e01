import { ReplyError } from 'ioredis'
import { KeyCommand } from './key-command.ts'

/**
 * A flush that is one transaction, whose bytes the caller writes to the socket. `replied` has its replies, errors
 * among them, in the order of the commands: fewer than expected when the connection ended before.
 */
export class FlushCommand extends KeyCommand {
  readonly replied: Promise<readonly unknown[]>

  constructor(key: string, count: number) {
    super('rpush', key, count)
    const { promise, resolve } = Promise.withResolvers<readonly unknown[]>()
    this.replied = promise
    const { resolve: settle } = this
    const replies: unknown[] = []
    const end = (): void => {
      settle(null)
      resolve(replies)
    }
    this.resolve = (reply) => {
      if (replies.push(reply) === count) end()
    }
    this.reject = (error) => {
      if (!(error instanceof ReplyError) || replies.push(error) === count) end()
    }
  }
}
