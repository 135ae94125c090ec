package s3api

import (
	"fmt"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

func TestErrorsAboutUploadsSayWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want *intake.Error
	}{
		{
			&vault.PartChecksumError{Name: sse.Name{Bucket: "b", Key: "k"}, Want: checksum.CRC32, Got: checksum.SHA1},
			intake.NewError(400, "InvalidArgument", `Invalid arguments provided for b/k: (checksum missing, want "CRC32", got "SHA1")`),
		},
		{&vault.SourceRangeError{Size: 7}, intake.NewError(400, "InvalidArgument", "Range specified is not valid for source object of size: 7")},
		{&vault.RequestError{Reason: "No."}, intake.NewError(400, "InvalidRequest", "No.")},
	} {
		if got := Describe(fmt.Errorf("complete: %w", tt.err)); got.Status != tt.want.Status || got.Code != tt.want.Code || got.Message != tt.want.Message {
			t.Errorf("%v is answered %v", tt.err, got)
		}
	}
	got := Describe(&conditions.Error{Err: conditions.ErrPrecondition, ETag: `"e"`, Modified: time.Unix(0, 0)})
	if got.Status != 412 || got.Header.Get("ETag") != `"e"` || got.Header.Get("Last-Modified") != "Thu, 01 Jan 1970 00:00:00 GMT" {
		t.Errorf("a condition is answered %v, %v", got, got.Header)
	}
	if Describe(conditions.ErrPrecondition).Header != nil {
		t.Error("the table was changed")
	}
}
