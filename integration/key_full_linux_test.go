package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A rotation on a disk that is full is not done, at whichever of its writes there is no room;
// what was sealed before opens all the time, and the next one with room is done.
func TestRotationOnAFullDisk(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	const page = 4096
	for room := range 4 { // pages that are free when the rotation begins
		disk := smallDisk(t, 64<<10)
		dir := filepath.Join(disk, "data")
		mustSeal(t, nil, "", "key", "create", "--init", "key", "--data-dir", dir)
		sealed := mustSeal(t, nil, "plaintext", "key", "encrypt", "key", "--data-dir", dir)
		ballast := filepath.Join(disk, "ballast")
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(make([]byte, page))
		}
		info, err := f.Stat()
		if err == nil {
			err = f.Truncate((info.Size()/page - int64(room)) * page)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()

		_, all, err := runSeal(t, nil, "", "key", "rotate", "key", "--data-dir", dir)
		if room == 0 && err == nil {
			t.Errorf("no room, and the key was rotated: %s", all)
		}
		if err != nil && !strings.Contains(all, "no space left on device") {
			t.Errorf("%d pages: %v: %s", room, err, all)
		}
		done := err == nil
		t.Logf("%d pages of room: rotated: %v", room, done)
		opens := func(what, sealed string) {
			t.Helper()
			if out := mustSeal(t, nil, sealed, "key", "decrypt", "key", "--data-dir", dir); out != "plaintext" {
				t.Errorf("%d pages, %s: %q", room, what, out)
			}
		}
		opens("while there is no room", sealed)
		before := readKeyState(t, mustSeal(t, nil, "", "key", "info", "key", "--json", "--data-dir", dir))
		if done != (before.Version == 2) {
			t.Errorf("%d pages: version %d, and the rotation ended with %v", room, before.Version, err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		mustSeal(t, nil, "", "key", "rotate", "key", "--data-dir", dir)
		after := readKeyState(t, mustSeal(t, nil, "", "key", "info", "key", "--json", "--data-dir", dir))
		if after.Version != before.Version+1 || int(after.Version) != len(after.Versions) {
			t.Errorf("%d pages: version %d after %d, of %d", room, after.Version, before.Version, len(after.Versions))
		}
		opens("rotated", sealed)
		opens("anew", mustSeal(t, nil, "plaintext", "key", "encrypt", "key", "--data-dir", dir))
	}
}
