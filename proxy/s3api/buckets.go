package s3api

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const s3Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// listBuckets serves ListBuckets: upstream's answer without the system bucket.
func (s *API) listBuckets(w http.ResponseWriter, r *intake.Request) error {
	answer, err := s.in.Ask(r, upstream.S3, nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	list, err := upstream.ParseBuckets(answer)
	if err != nil {
		return fmt.Errorf("parse list of buckets: %w (%w)", storage.ErrUnreachable, err)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListAllMyBucketsResult xmlns="` + s3Namespace + `"><Owner>`)
	element(&b, "ID", list.Owner.ID)
	element(&b, "DisplayName", list.Owner.DisplayName)
	b.WriteString("</Owner><Buckets>")
	for _, bucket := range list.Buckets {
		if strings.EqualFold(bucket.Name, s.o.SystemBucket) {
			continue
		}
		b.WriteString("<Bucket>")
		element(&b, "Name", bucket.Name)
		element(&b, "CreationDate", bucket.CreationDate)
		b.WriteString("</Bucket>")
	}
	b.WriteString("</Buckets>")
	if list.Prefix != "" {
		element(&b, "Prefix", list.Prefix)
	}
	if list.Token != "" {
		element(&b, "ContinuationToken", list.Token)
	}
	b.WriteString("</ListAllMyBucketsResult>")
	writeXML(w, http.StatusOK, b.Bytes())
	return nil
}

// deleteBucket serves DeleteBucket. The bucket's rule goes with it; should that
// fail, the rule's creation date keeps it from a bucket made anew.
func (s *API) deleteBucket(w http.ResponseWriter, r *intake.Request) error {
	answer, err := s.in.Ask(r, upstream.S3, nil)
	if err != nil {
		return err
	}
	signed := r.Caller.AccessKey != "" // upstream can only narrow access
	if signed {
		if err := s.encryption.BucketRemoved(r.Context(), r.Bucket); err != nil {
			s.log.Warn("rule of a deleted bucket was not removed", "bucket", r.Bucket, "error", err)
		}
	}
	return s.in.PassBack(w, r, answer)
}
