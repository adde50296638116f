//! `GET /_matrix/client/v3/devices`, `GET`, `PUT` and `DELETE .../devices/{deviceId}`, `POST .../delete_devices`.
//! Client-server API, "Device management".
//!
//! Deletion asks for the password once more. Deliberately absent: when and from where a device was last seen. It would be
//! a disk write for each request, to record that the phone talked to itself.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    OwnedDeviceId,
    api::client::device::{
        Device, delete_device::v3 as delete_device, delete_devices::v3 as delete_devices, get_device::v3 as get_device,
        get_devices::v3 as get_devices, update_device::v3 as update_device,
    },
};

use super::{login::device_of, uiaa};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    store::{DeviceRecord, StoreError, UserKey, WriteTx},
    users::sessions,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, list);
    let router = route(router, one);
    let router = route(router, rename);
    let router = route(router, delete);
    route(router, delete_many)
}

async fn list(
    State(home): State<Arc<Home>>,
    call: Authed<get_devices::Request>,
) -> Result<get_devices::Response, ApiError> {
    let devices = sessions::devices(&home.store.snapshot()?, call.user_key)?;
    Ok(get_devices::Response::new(devices.into_iter().map(|(id, record)| shown(id.into(), record)).collect()))
}

async fn one(
    State(home): State<Arc<Home>>,
    call: Authed<get_device::Request>,
) -> Result<get_device::Response, ApiError> {
    let id = call.request.device_id;
    let record = sessions::device(&home.store.snapshot()?, call.user_key, id.as_str())?.ok_or_else(unknown)?;
    Ok(get_device::Response::new(shown(id, record)))
}

async fn rename(
    State(home): State<Arc<Home>>,
    call: Authed<update_device::Request>,
) -> Result<update_device::Response, ApiError> {
    let id = call.request.device_id.to_string();
    let wanted = device_of(None, call.request.display_name)?;
    let Some(name) = wanted.display_name else {
        // Without a name nothing is asked to change, but the device must be there all the same.
        let known = sessions::device(&home.store.snapshot()?, call.user_key, &id)?;
        return known.map(|_| update_device::Response::new()).ok_or_else(unknown);
    };
    let known = home.store.write(move |tx| sessions::rename(tx, call.user_key, &id, Some(&name))).await?;
    if known { Ok(update_device::Response::new()) } else { Err(unknown()) }
}

async fn delete(
    State(home): State<Arc<Home>>,
    call: Authed<delete_device::Request>,
) -> Result<delete_device::Response, ApiError> {
    uiaa::has_password(&home, &call.user, call.user_key, call.request.auth.as_ref()).await?;
    close(&home, call.user_key, vec![call.request.device_id]).await?;
    Ok(delete_device::Response::new())
}

async fn delete_many(
    State(home): State<Arc<Home>>,
    call: Authed<delete_devices::Request>,
) -> Result<delete_devices::Response, ApiError> {
    uiaa::has_password(&home, &call.user, call.user_key, call.request.auth.as_ref()).await?;
    close(&home, call.user_key, call.request.devices).await?;
    Ok(delete_devices::Response::new())
}

async fn close(home: &Home, user: UserKey, devices: Vec<OwnedDeviceId>) -> Result<(), StoreError> {
    let job = move |tx: &mut WriteTx<'_>| devices.iter().try_for_each(|id| sessions::close(tx, user, id.as_str()));
    home.store.write(job).await
}

fn shown(id: OwnedDeviceId, record: DeviceRecord) -> Device {
    let mut device = Device::new(id);
    device.display_name = record.display_name;
    device
}

fn unknown() -> ApiError {
    ApiError::not_found("you have no such device")
}
