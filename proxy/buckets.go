package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const s3Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// listBuckets serves ListBuckets: upstream's answer without the system bucket.
func (s *Server) listBuckets(w http.ResponseWriter, r *request) error {
	resp, err := s.forwardRequest(r)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	list, err := upstream.ParseBuckets(resp.Body)
	if err != nil {
		return fmt.Errorf("parse list of buckets: %w (%w)", storage.ErrUnreachable, err)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListAllMyBucketsResult xmlns="` + s3Namespace + `"><Owner>`)
	element(&b, "ID", list.Owner.ID)
	element(&b, "DisplayName", list.Owner.DisplayName)
	b.WriteString("</Owner><Buckets>")
	for _, bucket := range list.Buckets {
		if strings.EqualFold(bucket.Name, s.opts.SystemBucket) {
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
func (s *Server) deleteBucket(w http.ResponseWriter, r *request) error {
	resp, err := s.forwardRequest(r)
	if err != nil {
		return err
	}
	signed := r.caller.accessKey != "" // upstream can only narrow access
	if signed && (resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusOK) {
		if err := s.dropRule(r); err != nil {
			s.log.Warn("rule of a deleted bucket was not removed", "bucket", r.bucket, "error", err)
		}
	}
	return s.forwardAnswer(w, resp)
}

func (s *Server) dropRule(r *request) error {
	if err := s.setup.ensure(r.Context()); err != nil {
		return err
	}
	return s.rules.BucketRemoved(r.Context(), r.bucket)
}
