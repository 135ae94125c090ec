package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// questions are tests of May.
var questions = map[string]func(*kit){
	"QuestionsChangeNothing":    (*kit).mayAll,
	"QuestionsOfAMissingBucket": (*kit).mayNowhere,
}

var rights = map[string]storage.Right{
	"WriteObject": storage.WriteObject, "SendPart": storage.SendPart, "CompleteUpload": storage.CompleteUpload,
	"AbortUpload": storage.AbortUpload, "ReadUpload": storage.ReadUpload, "ListUploads": storage.ListUploads,
}

func (k *kit) mayAll() {
	k.put("there", []byte("old"))
	for what, right := range rights {
		for _, key := range []string{"there", "none"} {
			for _, as := range []*storage.Encryption{nil, {Mode: sse.ModeS3}, {Mode: sse.ModeKMS, KMSKey: "key"}} {
				err := k.own.May(k.ctx(), &storage.Question{Right: right, Name: k.name(key), Meta: storage.Metadata{"X-Amz-Meta-A": {"b"}}, As: as})
				k.must(fmt.Sprintf("%s of %s", what, key), err)
			}
		}
	}
	k.holds("there", []byte("old"))
	k.isGone("none")
}

func (k *kit) mayNowhere() {
	err := k.own.May(k.ctx(), &storage.Question{Right: storage.WriteObject, Name: sse.Name{Bucket: k.bucket + "-none", Key: "o"}})
	k.want("write", err, storage.ErrNoSuchBucket)
}

// atomic lets writers replace one object, by Put and by copies onto itself, and readers
// look that data, metadata and record are always of one write.
func (k *kit) atomic() {
	const size = 100_000
	write := func(ctx context.Context, i int) error {
		_, err := k.own.Put(ctx, &storage.Put{
			Name: k.name("o"), Meta: storage.Metadata{"X-Amz-Meta-Seed": {strconv.Itoa(i)}}, Record: strconv.Itoa(i), Body: body(data(uint64(i), size)), //nolint:gosec // not negative
		})
		return err
	}
	k.must("put", write(k.ctx(), 0))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := w; i < 60; i += 2 {
				if err := write(k.ctx(), i); err != nil {
					k.Error(err)
				}
			}
			stop.Store(true)
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			k.rewrite()
		}
	})
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				info, content, err := k.read(&storage.Get{Name: k.name("o")})
				if err != nil {
					k.Errorf("get: %v", err)
					return
				}
				k.ofOneWrite(info, content)
			}
		})
	}
	wg.Wait()
	info, content, err := k.read(&storage.Get{Name: k.name("o")})
	k.must("get", err)
	k.ofOneWrite(info, content)
}

// rewrite copies the object onto itself, with the metadata that belong to its data.
func (k *kit) rewrite() {
	head, err := k.own.Head(k.ctx(), &storage.Get{Name: k.name("o")})
	if err != nil {
		k.Errorf("head: %v", err)
		return
	}
	seed := head.Meta.Get("X-Amz-Meta-Seed")
	_, err = k.own.Copy(k.ctx(), &storage.Copy{
		Name: k.name("o"), Meta: storage.Metadata{"X-Amz-Meta-Seed": {seed}}, Record: seed,
		Source: storage.Source{Name: k.name("o")}, SourceMatch: head.ETag, Checksum: "CRC64NVME",
	})
	if err != nil && k.answer(err) == nil {
		k.Errorf("copy: %v", err)
	}
}

// ofOneWrite holds what was read to one seed.
func (k *kit) ofOneWrite(info *storage.Info, content []byte) {
	seed := info.Meta.Get("X-Amz-Meta-Seed")
	i, err := strconv.Atoi(seed)
	if err != nil || len(info.Reserved) != 1 || info.Reserved[0].Value != seed {
		k.Errorf("metadata of write %q, record %v", seed, info.Reserved)
		return
	}
	want := data(uint64(i), len(content)) //nolint:gosec // not negative
	if !bytes.Equal(content, want) || unquoted(info.ETag) != etagOf(content) {
		k.Errorf("metadata of write %d, data or ETag of another", i)
	}
}
