package sealed

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrChanged says that another object is there than was seen before.
var ErrChanged = errors.New("the object was overwritten while it was read")

// AsChanged is for the error of a request that was pinned to an object that was seen
// before. ErrChanged if that is no longer the current one.
func AsChanged(err error) error {
	if errors.Is(err, storage.ErrPrecondition) {
		return fmt.Errorf("%w (%v)", ErrChanged, err) //nolint:errorlint // not the client's condition
	}
	return err
}

// CheckAnswer refuses an answer that is not the bytes want of encSize.
func CheckAnswer(got *storage.Info, want sse.Range, encSize int64, partial bool) error {
	if !partial {
		if got.Part {
			return fmt.Errorf("a part without a range: %w", storage.ErrLied)
		}
		return CheckLength(got, encSize)
	}
	if !got.Part || got.Total != encSize || got.At != want {
		return fmt.Errorf("bytes %d-%d/%d for %d encrypted bytes: %w", got.At.Offset, got.At.Offset+got.At.Length-1, got.Total, encSize, storage.ErrLied)
	}
	return CheckLength(got, want.Length)
}

// CheckLength refuses an answer whose length does not follow from the record.
func CheckLength(got *storage.Info, want int64) error {
	if got.Size != want {
		return fmt.Errorf("upstream answered %d bytes where the record says %d: %w", got.Size, want, storage.ErrLied)
	}
	return nil
}

// ReadError keeps a cut upstream connection apart from a damaged object.
func ReadError(err error) error {
	if errors.Is(err, sse.ErrTruncated) || errors.Is(err, sse.ErrTampered) {
		return fmt.Errorf("read object: %w", err)
	}
	return fmt.Errorf("read object: %w (%w)", storage.ErrUnreachable, err)
}

// DoesNotFit says whether an error of reading an object may be that of a manifest that
// is another's.
func DoesNotFit(err error) bool {
	return errors.Is(err, sse.ErrTampered) || errors.Is(err, sse.ErrTruncated) || errors.Is(err, storage.ErrLied)
}

// MayPass says whether an error is one of who cannot be reached for now, or of another
// KMS key than before, and says nothing of an object.
func MayPass(err error) bool {
	return errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrKeyReplaced) || errors.Is(err, storage.ErrUnreachable) || errors.Is(err, identity.ErrUnavailable) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
