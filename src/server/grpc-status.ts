import { Metadata, type StatusObject, status } from '@grpc/grpc-js'
import { BaseError, type Log } from '../base/index.ts'
import { answerOf, sentenceOf, ServerError } from './errors.ts'

/** Trailing metadata of a refused call: the code of docs/errors.md. */
export const CODE_METADATA = 'gateway-code'

/** The caller is an operator: a BaseError's message is a sentence for operators and holds no secret. */
export function statusOf(error: unknown, path: string, log: Log): Partial<StatusObject> {
  if (!(error instanceof BaseError)) {
    log.error('management call failed', { path, error })
    return {
      code: status.INTERNAL,
      details: 'The call failed inside the program; its log says why.',
    }
  }
  const metadata = new Metadata()
  metadata.set(CODE_METADATA, error.code)
  if (error instanceof ServerError) {
    return { code: answerOf(error).grpcStatus, details: sentenceOf(error), metadata }
  }
  const code = error.retryable ? status.UNAVAILABLE : status.FAILED_PRECONDITION
  return { code, details: error.message, metadata }
}
