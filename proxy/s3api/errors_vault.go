package s3api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
)

// vaultError returns what a client sees of an engine's error that says more than a
// sentinel.
func vaultError(err error) (*intake.Error, bool) {
	var condition *conditions.Error
	if errors.As(err, &condition) {
		out := *Describe(condition.Err)
		out.Header = http.Header{ // what would hold
			"Etag":          {condition.ETag},
			"Last-Modified": {condition.Modified.UTC().Format(http.TimeFormat)},
		}
		return &out, true
	}
	var beyond *plaintext.RangeError
	if errors.As(err, &beyond) { // in MinIO's words
		r := beyond.Range
		message := fmt.Sprintf("The requested range 'bytes=%d-%d' is not satisfiable", r.First, r.Last)
		if r.Suffix >= 0 {
			message = fmt.Sprintf("The requested range 'bytes=-%d' is not satisfiable", r.Suffix)
		}
		return intake.NewError(416, "InvalidRange", message), true
	}
	return uploadError(err)
}
