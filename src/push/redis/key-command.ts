import { Command, type Redis, ReplyError } from 'ioredis'

const NO_BYTES = Buffer.alloc(0)

/**
 * What one key gets in a flush: commands whose bytes the caller writes to the socket, answered by one or more
 * replies. ioredis would have an object, a promise and a timer for each; here a transaction of 500 XADDs is one.
 * `promise` has the last reply, or the first error among all.
 */
export class KeyCommand extends Command {
  /** @param replies how many the server gives. */
  constructor(name: string, key: string, replies: number) {
    super(name, [key])
    const { resolve, reject } = this
    let left = replies
    let refusal: Error | undefined
    this.resolve = (reply) => {
      if (--left > 0) return
      const error = refusal ?? firstError(reply)
      if (error === undefined) resolve(reply)
      else reject(error)
    }
    this.reject = (error) => {
      if (error instanceof ReplyError) {
        refusal ??= error
        if (--left <= 0) reject(refusal)
      } else {
        reject(refusal ?? error)
      }
    }
  }

  /** Makes ioredis expect the replies: once for each, in the order in which the server will give them. */
  expect(client: Redis, replies: number): void {
    const stream = {
      isPipeline: true as const,
      destination: { redis: client },
      write: () => true,
    }
    for (let reply = 0; reply < replies; reply++) client.sendCommand(this, stream)
  }

  override toWritable(): Buffer {
    return NO_BYTES
  }
}

/** EXEC answers with the replies of all: one that was refused at run time stands among them. */
function firstError(reply: unknown): Error | undefined {
  if (!Array.isArray(reply)) return undefined
  return reply.find((one): one is Error => one instanceof Error)
}
