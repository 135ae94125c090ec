package proxy

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// readTries is how often a read of an object that is being overwritten is begun.
const readTries = 5

// whileChanging does something that reads an object in more than one request, and
// begins anew when the object was overwritten between two of them: no condition of
// the client's has failed then. errChanged if that happens again and again.
func whileChanging(do func() error) (err error) {
	for range readTries {
		if err = do(); !errors.Is(err, errChanged) {
			return err
		}
	}
	return err
}

// readChanged reads the answer to a request that was pinned to an object that was
// seen before. errChanged if that is no longer the current one.
func readChanged(resp *http.Response) error {
	answer := upstream.ReadError(resp)
	if answer.Status == http.StatusPreconditionFailed {
		return fmt.Errorf("%w (%v)", errChanged, answer) //nolint:errorlint // not the client's condition
	}
	return answer
}

// errNoLength says that upstream does not tell how long a plain object is: nothing
// else could tell a client that its answer was cut off.
var errNoLength = fmt.Errorf("upstream answered without a length: %w", errUpstreamLied)

// checkAnswer refuses an answer that is not the bytes want of encSize.
func checkAnswer(resp *http.Response, want sse.Range, encSize int64, partial bool) error {
	if !partial {
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d without a range: %w", resp.StatusCode, errUpstreamLied)
		}
		return checkLength(resp, encSize)
	}
	header := resp.Header.Get("Content-Range")
	r, size, ok := parseContentRange(header)
	if !ok || size != encSize || r != want || resp.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("Content-Range %q for %d encrypted bytes: %w", header, encSize, errUpstreamLied)
	}
	return checkLength(resp, want.Length)
}

// checkLength refuses an answer whose length does not follow from the record.
func checkLength(resp *http.Response, want int64) error {
	if resp.ContentLength != want {
		return fmt.Errorf("upstream answered %d bytes where the record says %d: %w", resp.ContentLength, want, errUpstreamLied)
	}
	return nil
}

// readError keeps a cut upstream connection apart from a damaged object.
func readError(err error) error {
	if errors.Is(err, errClientGone) {
		return err
	}
	if errors.Is(err, sse.ErrTruncated) || errors.Is(err, sse.ErrTampered) {
		return fmt.Errorf("read object: %w", err)
	}
	return fmt.Errorf("read object: %w (%w)", storage.ErrUnreachable, err)
}
