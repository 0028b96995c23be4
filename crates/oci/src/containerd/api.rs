//! The part of containerd's gRPC API that is used here: four services, and of their messages the fields that matter.
//!
//! Written down by hand, because generating it wants a `protoc` on every machine that builds this crate. Names and
//! numbers are those of containerd v2.1, `api/services/{content,images,leases,namespaces}/v1/*.proto` and
//! `api/types/descriptor.proto`. Nothing that is read is ever sent back whole, so a field left out here cannot get lost.

use std::collections::BTreeMap;

/// Labels and annotations.
pub(super) type Labels = BTreeMap<String, String>;

/// What a call is called on the wire, and what is sent and answered.
pub(super) trait Call: prost::Message + Default + 'static {
    const PATH: &'static str;
    type Answer: prost::Message + Default + 'static;
}

macro_rules! calls {
    ($($request:ty => $path:literal -> $answer:ty;)*) => {$(
        impl Call for $request {
            const PATH: &'static str = $path;
            type Answer = $answer;
        }
    )*};
}

calls! {
    InfoRequest => "/containerd.services.content.v1.Content/Info" -> InfoResponse;
    UpdateContentRequest => "/containerd.services.content.v1.Content/Update" -> Empty;
    ReadRequest => "/containerd.services.content.v1.Content/Read" -> ReadResponse;
    WriteRequest => "/containerd.services.content.v1.Content/Write" -> WriteResponse;
    AbortRequest => "/containerd.services.content.v1.Content/Abort" -> Empty;
    GetImageRequest => "/containerd.services.images.v1.Images/Get" -> GetImageResponse;
    ListImagesRequest => "/containerd.services.images.v1.Images/List" -> ListImagesResponse;
    CreateImageRequest => "/containerd.services.images.v1.Images/Create" -> Empty;
    UpdateImageRequest => "/containerd.services.images.v1.Images/Update" -> Empty;
    CreateLeaseRequest => "/containerd.services.leases.v1.Leases/Create" -> CreateLeaseResponse;
    DeleteLeaseRequest => "/containerd.services.leases.v1.Leases/Delete" -> Empty;
    AddResourceRequest => "/containerd.services.leases.v1.Leases/AddResource" -> Empty;
    ListNamespacesRequest => "/containerd.services.namespaces.v1.Namespaces/List" -> ListNamespacesResponse;
}

/// An answer that is not looked at.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Empty {}

/// `google.protobuf.FieldMask`: what an update changes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct FieldMask {
    #[prost(string, repeated, tag = "1")]
    pub(super) paths: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "1")]
    pub(super) media_type: String,
    #[prost(string, tag = "2")]
    pub(super) digest: String,
    #[prost(int64, tag = "3")]
    pub(super) size: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) annotations: Labels,
}

/// What the content store knows of a blob.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Info {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(int64, tag = "2")]
    pub(super) size: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) labels: Labels,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct InfoRequest {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct InfoResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<Info>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct UpdateContentRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<Info>,
    #[prost(message, optional, tag = "2")]
    pub(super) update_mask: Option<FieldMask>,
}

/// A `size` of 0 means all that follows `offset`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ReadRequest {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(int64, tag = "2")]
    pub(super) offset: i64,
    #[prost(int64, tag = "3")]
    pub(super) size: i64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ReadResponse {
    #[prost(int64, tag = "1")]
    pub(super) offset: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: prost::bytes::Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum WriteAction {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct WriteRequest {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub(super) action: i32,
    #[prost(string, tag = "2")]
    pub(super) r#ref: String,
    #[prost(int64, tag = "3")]
    pub(super) total: i64,
    #[prost(string, tag = "4")]
    pub(super) expected: String,
    #[prost(int64, tag = "5")]
    pub(super) offset: i64,
    #[prost(bytes = "bytes", tag = "6")]
    pub(super) data: prost::bytes::Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct WriteResponse {
    #[prost(int64, tag = "4")]
    pub(super) offset: i64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct AbortRequest {
    #[prost(string, tag = "1")]
    pub(super) r#ref: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) target: Option<Descriptor>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct GetImageRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct GetImageResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListImagesRequest {
    #[prost(string, repeated, tag = "1")]
    pub(super) filters: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListImagesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) images: Vec<Image>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct CreateImageRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct UpdateImageRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
    #[prost(message, optional, tag = "2")]
    pub(super) update_mask: Option<FieldMask>,
}

/// Without an ID, containerd makes one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct CreateLeaseRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) labels: Labels,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Lease {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct CreateLeaseResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) lease: Option<Lease>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct DeleteLeaseRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Resource {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) r#type: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct AddResourceRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) resource: Option<Resource>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListNamespacesRequest {}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Namespace {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListNamespacesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) namespaces: Vec<Namespace>,
}
