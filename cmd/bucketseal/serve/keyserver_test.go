package serve

import (
	"testing"
)

func TestKeyServerConnectionsFollowTheMachine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		memory, files   int64
		most, strangers int
	}{
		{64 << 20, 1 << 20, 64, 32},
		{256 << 20, 1 << 20, 64, 42},
		{1 << 30, 1 << 20, 128, 170},
		{16 << 30, 1 << 20, 1024, 256},
		{16 << 30, 1024, 256, 256},
	} {
		c := keyServerConnections(test.memory, test.files)
		if c.Most != test.most || c.Strangers != test.strangers {
			t.Errorf("%d bytes, %d files: %+v", test.memory, test.files, c)
		}
	}
}
