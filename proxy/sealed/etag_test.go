package sealed

import (
	"encoding/hex"
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
	for _, tt := range []struct {
		name string
		rec  *sse.Record
		md5  []byte
		want string
	}{
		{"plain object", nil, nil, stored},
		{"SSE-S3", &sse.Record{Mode: sse.ModeS3}, md5, `"` + known + `"`},
		{"SSE-S3, MD5 not known", &sse.Record{Mode: sse.ModeS3}, nil, `"00000000000000000000000000000001-1"`},
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
