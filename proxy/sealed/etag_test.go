package sealed

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

func TestETagsThatClientsSee(t *testing.T) {
	t.Parallel()
	const known = "9b2cf535f27731c974343645a3985328"
	md5, err := hex.DecodeString(known)
	if err != nil {
		t.Fatal(err)
	}
	const stored = `"00000000000000000000000000000001"`
	tag := new(sse.Record).ETag()
	opaque := fmt.Sprintf(`"%x-1"`, tag)
	for _, tt := range []struct {
		name string
		rec  *sse.Record
		md5  []byte
		want string
	}{
		{"plain object", nil, nil, stored},
		{"SSE-S3", &sse.Record{Mode: sse.ModeS3}, md5, `"` + known + `"`},
		{"SSE-S3, MD5 not known", &sse.Record{Mode: sse.ModeS3}, nil, `"00000000000000000000000000000001-1"`},
		{"SSE-S3, opaque", &sse.Record{Mode: sse.ModeS3, OpaqueETag: true}, nil, opaque},
		{"SSE-S3, opaque, copy of an upload", &sse.Record{Mode: sse.ModeS3, OpaqueETag: true, Layout: sse.Copied}, md5, opaque},
		{"SSE-S3, opaque, uploaded in parts", &sse.Record{Mode: sse.ModeS3, OpaqueETag: true, Layout: sse.Uploaded}, md5, `"` + known + `"`},
		{"SSE-KMS never shows an MD5", &sse.Record{Mode: sse.ModeKMS}, md5, stored},
		{"SSE-C never shows an MD5", &sse.Record{Mode: sse.ModeC}, md5, stored},
	} {
		for _, upstream := range []string{stored, stored[1 : len(stored)-1]} { // answers quote, some listings do not
			if got := ETag(tt.rec, &sse.Facts{MD5: tt.md5}, upstream); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
	}
}
