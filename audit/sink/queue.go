package sink

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// errQueueFull says that a queue has no room. What comes is not taken until there is.
var errQueueFull = errors.New("its queue is full")

// queue keeps lines on the disk, in order, until they are taken off. It is safe for one
// goroutine that adds and one that takes off.
type queue struct {
	folder string
	limit  int64

	mu       sync.Mutex
	segments []segment // the oldest first; the last one is written to
	size     int64     // of all
	offset   int64     // in the first, of what is not taken off yet
	out      *os.File  // the last one
	lock     *os.File
	// syncFolder makes names in a folder durable; tests have it fail.
	syncFolder func(name string) error
}

// segment is a file of whole lines.
type segment struct {
	number uint64
	size   int64
}

const (
	segmentSuffix = ".lines"
	cursorName    = "cursor"
	segmentSize   = 4 << 20
)

// openQueue opens a queue in a folder of its own, of at most limit bytes.
func openQueue(folder string, limit int64) (*queue, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	q := &queue{folder: folder, limit: limit, syncFolder: syncFolder}
	var err error
	if q.lock, err = os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err = lock(q.lock); err == nil {
		err = q.load()
	}
	if err != nil {
		_ = q.lock.Close()
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return q, nil
}

func (q *queue) name(number uint64) string {
	return filepath.Join(q.folder, fmt.Sprintf("%020d%s", number, segmentSuffix))
}

// load finds what was left. A line without an end is cut off.
func (q *queue) load() error {
	entries, err := os.ReadDir(q.folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		number, err := strconv.ParseUint(text, 10, 64)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		q.segments = append(q.segments, segment{number, info.Size()})
	}
	slices.SortFunc(q.segments, func(a, b segment) int { return int(min(1, max(-1, int64(a.number)-int64(b.number)))) })
	if err := q.cutTorn(); err != nil {
		return err
	}
	q.readCursor()
	for _, s := range q.segments {
		q.size += s.size
	}
	return q.begin()
}

// cutTorn cuts off what is torn at the end of the last segment.
func (q *queue) cutTorn() error {
	if len(q.segments) == 0 {
		return nil
	}
	last := &q.segments[len(q.segments)-1]
	data, err := os.ReadFile(q.name(last.number))
	if err != nil {
		return err
	}
	whole := int64(bytes.LastIndexByte(data, '\n') + 1)
	if whole < last.size {
		if err := os.Truncate(q.name(last.number), whole); err != nil {
			return err
		}
		last.size = whole
	}
	return nil
}

// readCursor finds what was taken off: whatever is before it goes. A cursor that cannot be
// read means that lines are sent again.
func (q *queue) readCursor() {
	data, err := os.ReadFile(filepath.Join(q.folder, cursorName))
	if err != nil {
		return
	}
	var number uint64
	var offset int64
	if n, err := fmt.Sscanf(string(data), "%d %d\n", &number, &offset); n != 2 || err != nil || string(data) != cursor(number, offset) {
		return // of one that a crash tore, too
	}
	for len(q.segments) > 0 && q.segments[0].number < number {
		_ = os.Remove(q.name(q.segments[0].number))
		q.segments = q.segments[1:]
	}
	if len(q.segments) > 0 && q.segments[0].number == number && 0 <= offset && offset <= q.segments[0].size && q.beginsLine(number, offset) {
		q.offset = offset
	}
}

// beginsLine says whether a line begins at an offset of a segment.
func (q *queue) beginsLine(number uint64, offset int64) bool {
	if offset == 0 {
		return true
	}
	f, err := os.Open(q.name(number))
	if err != nil {
		return false
	}
	defer f.Close()
	var before [1]byte
	_, err = f.ReadAt(before[:], offset-1)
	return err == nil && before[0] == '\n'
}

// cursor is how it is noted that lines before an offset of a segment were taken off.
func cursor(number uint64, offset int64) string { return fmt.Sprintf("%d %d\n", number, offset) }

// begin opens a new segment to write to. If that fails, it can be tried again.
func (q *queue) begin() error {
	next := uint64(1)
	if n := len(q.segments); n > 0 {
		next = q.segments[n-1].number + 1
	}
	out, err := q.create(next)
	if err != nil {
		return err
	}
	if err := q.syncFolder(q.folder); err != nil {
		// Made anew, so that the next sync has something to do: one that failed may have
		// forgotten what it was about.
		return errors.Join(err, out.Close(), os.Remove(q.name(next)))
	}
	if q.out != nil {
		_ = q.out.Close()
	}
	q.out, q.segments = out, append(q.segments, segment{number: next})
	return nil
}

// create creates the file of a segment. One that an earlier try left is taken: it is empty.
func (q *queue) create(number uint64) (*os.File, error) {
	out, err := os.OpenFile(q.name(number), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := out.Stat()
	if err == nil && info.Size() > 0 {
		err = fmt.Errorf("%s: %w", q.name(number), os.ErrExist)
	}
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	return out, nil
}

// add appends lines, durably if sync is set. errQueueFull.
func (q *queue) add(lines []byte, sync bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size-q.offset+int64(len(lines)) > q.limit {
		return errQueueFull
	}
	last := &q.segments[len(q.segments)-1]
	if last.size > 0 && last.size+int64(len(lines)) > segmentSize {
		if err := syncData(q.out); err != nil {
			return err
		}
		if err := q.begin(); err != nil {
			return err
		}
		last = &q.segments[len(q.segments)-1]
	}
	n, err := q.out.WriteAt(lines, last.size)
	if err == nil && sync {
		err = syncData(q.out)
	}
	if err != nil {
		if n > 0 {
			_ = q.out.Truncate(last.size)
		}
		return err
	}
	last.size += int64(n)
	q.size += int64(n)
	return nil
}

// waiting is how many bytes are not taken off.
func (q *queue) waiting() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size - q.offset
}

// peek returns the next lines, about most bytes of them; none if nothing waits.
func (q *queue) peek(most int) ([]byte, error) {
	q.mu.Lock()
	for len(q.segments) > 1 && q.offset >= q.segments[0].size { // all of it was taken off
		if err := os.Remove(q.name(q.segments[0].number)); err != nil && !errors.Is(err, os.ErrNotExist) {
			q.mu.Unlock()
			return nil, err
		}
		q.size -= q.segments[0].size
		q.segments, q.offset = q.segments[1:], 0
	}
	first, offset := q.segments[0], q.offset
	q.mu.Unlock()
	if first.size == offset {
		return nil, nil
	}
	f, err := os.Open(q.name(first.number))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, min(first.size-offset, int64(most)))
	if _, err := f.ReadAt(data, offset); err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	if end == 0 {
		return nil, errors.New("a line in the queue is too long")
	}
	return data[:end], nil
}

// take takes n bytes off that peek returned. What was taken off and not noted is sent again
// after a crash.
func (q *queue) take(n int) error {
	q.mu.Lock()
	q.offset += int64(n)
	number, offset := q.segments[0].number, q.offset
	q.mu.Unlock()
	name := filepath.Join(q.folder, cursorName)
	if err := os.WriteFile(name+".new", []byte(cursor(number, offset)), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func (q *queue) close() error {
	err := syncData(q.out)
	return errors.Join(err, q.out.Close(), q.lock.Close())
}
