package copies

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// As rclone --metadata keeps them.
func TestAttributesOfFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := put(t, dir, "bucket/k", "x")
	for name, value := range map[string]string{"user.bucketseal": "record", "user.colour": "blue", "user.content-type": "text/plain"} {
		if err := unix.Setxattr(file, name, []byte(value), 0); err != nil {
			t.Skip("this file system has no extended attributes:", err)
		}
	}
	o, err := open(t, dir).Get(sse.Name{Bucket: "bucket", Key: "k"})
	if err != nil || o.Err != nil || len(o.Reserved) != 1 || o.Reserved[0] != (storage.MetaEntry{Name: storage.RecordName, Value: "record"}) || o.Meta.Get("X-Amz-Meta-Colour") != "blue" || o.Meta.Get("Content-Type") != "text/plain" {
		t.Errorf("%+v, %v", o, err)
	}
}
