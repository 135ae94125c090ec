package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

func TestErrorsAboutUploadsSayWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want apiError
	}{
		{
			&vault.PartChecksumError{Name: sse.Name{Bucket: "b", Key: "k"}, Want: checksum.CRC32, Got: checksum.SHA1},
			apiError{400, "InvalidArgument", `Invalid arguments provided for b/k: (checksum missing, want "CRC32", got "SHA1")`, nil},
		},
		{&vault.SourceRangeError{Size: 7}, apiError{400, "InvalidArgument", "Range specified is not valid for source object of size: 7", nil}},
		{&vault.RequestError{Reason: "No."}, apiError{400, "InvalidRequest", "No.", nil}},
	} {
		if got := asAPIError(fmt.Errorf("complete: %w", tt.err)); got.status != tt.want.status || got.code != tt.want.code || got.message != tt.want.message {
			t.Errorf("%v is answered %v", tt.err, got)
		}
	}
	got := asAPIError(&vault.ConditionError{Err: vault.ErrPrecondition, ETag: `"e"`, Modified: time.Unix(0, 0)})
	if got.status != 412 || got.header.Get("ETag") != `"e"` || got.header.Get("Last-Modified") != "Thu, 01 Jan 1970 00:00:00 GMT" {
		t.Errorf("a condition is answered %v, %v", got, got.header)
	}
	if asAPIError(vault.ErrPrecondition).header != nil {
		t.Error("the table was changed")
	}
}
